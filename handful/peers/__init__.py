"""What a user would otherwise pick, fitted on the same examples: `handful[peers]`."""
