"""Every limit on what is read, in one place, so that an error can name it and a reader can look it up."""

MAX_TEXT_CHARS = 100_000
"""Longest example or test text, in characters."""

MAX_LONG_TEXT_CHARS = 10_000_000
"""Longest text to predict (it is cut later), and longest single CSV field, in characters."""

MAX_LINE_BYTES = 64 * 2**20
"""Longest line of any text file, in bytes: a file without line ends must not fill the memory."""

MAX_BLANK_CHARS = 100_000
"""Most white space before the first row of a file of texts, in characters: a stream of blank lines may never end."""

MAX_YAML_BYTES = 1_000_000
"""Largest task file; longer lists of examples belong into a CSV file."""

MAX_LABELS = 1_000
"""Most labels in one task."""

# YAML gives up on keys over 1,024 characters, and quoting can make one character six.
MAX_LABEL_CHARS = 150
"""Longest label name, verbalizer, or name of a task or recipe, in characters."""

MAX_INSTRUCTION_CHARS = 10_000
"""Longest instruction or label description, in characters."""

MAX_TERMS = 5_000
"""Most terms in one list of terms for `handful audit`, over all its axes."""

MAX_TERM_GROUPS = 50
"""Most groups on one axis of such a list; every two of them are exchanged."""

MAX_TERM_CHARS = 100
"""Longest term, and longest name of an axis or group, in characters."""
