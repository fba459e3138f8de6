"""How much of the machine's matrix-product peak our classifier reaches on texts of AG News' length, in float32."""

from __future__ import annotations

from benchmarks.speed.alternate import Measurement, alternate, timed
from benchmarks.speed.gemm import Peak, products_of
from benchmarks.speed.models import STANDARD, load_base, load_classifier, tuned_directory
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import texts
from handful.encoding import encode
from handful.prompts import classification_prompt

_TEXTS = 256
_SET = "ag_news"
_PASSES = 8
_BATCH_TOKENS = 1024
"""The budget of own tokens in one forward pass (`LocalLLM`): rows of the products."""


def measure(settings: Settings) -> PartResult:
    """Return `classify_gemm_share`: operations our texts need, a second, over the peak measured in turn with it.

    Only the texts' own tokens count: no padding, no prefix, no vocabulary head, no attention.
    """
    ours = load_classifier(tuned_directory(_SET, STANDARD, settings))
    base = load_base()
    products = products_of(base.model.config)
    read = texts(_SET, settings.count(_TEXTS))
    prompts = [classification_prompt(ours.spec.prefix, text) for text in read]
    lengths = [
        len(encode(prompt, base.tokenizer, max_text_tokens=ours.spec.max_text_tokens).suffix_ids) for prompt in prompts
    ]
    del base
    flops = float(products.needed_flops(sum(lengths), len(lengths)))
    rows = min(_BATCH_TOKENS, sum(lengths))
    peak = Peak(products, rows)
    peak.measure(2)
    ours.log_probs(read)

    def our_side(_: int) -> Measurement:
        def work() -> float:
            ours.log_probs(read)
            return flops

        return timed(work)

    passes = settings.count(_PASSES)
    comparison = alternate("share of the GEMM peak", our_side, lambda _: peak.measure(passes), settings.repeats)
    facts = {
        "own_tokens": sum(lengths),
        "rows": rows,
        "peak_gflops": [m.rate / 1e9 for m in comparison.reference],
        "ours_gflops": [m.rate / 1e9 for m in comparison.ours],
        "shapes": [list(shape) for shape in products.shapes],
    }
    return PartResult({"classify_gemm_share": comparison.ratio}, {**comparison.to_dict(), **facts})
