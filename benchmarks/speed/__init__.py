"""How fast handful is, measured against what users would pick instead.

`python -m benchmarks.speed` (or `make bench`) measures everything; `--only classify,train.label` some parts of it,
`--quick` is a smoke run. Progress goes to stderr; the last line of stdout is one JSON object.

Every figure is a ratio taken in one run, ours and the reference alternating, the median over the pairs: the speed of a
shared machine drifts by half within an hour, and the drift hits both sides of a pair. Our allocator and thread settings
(`handful/llm`) are set for the process, so the references in it run under them too.

To add a figure: write `def measure(settings: Settings) -> PartResult` in a module here and name it in `parts.py`.
"""

import handful.llm  # noqa: F401  # sets how long threads spin, which must be before torch is imported
