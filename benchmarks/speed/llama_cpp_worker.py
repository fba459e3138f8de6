"""llama.cpp writing texts, in the environment of its Python binding; started by `llama_cpp_peer.py`.

Reads JSON lines on stdin and answers each with one on stdout. The first is the configuration (`Configuration`); every
further one is a request `{"prompts": [[id, ...], ...], "rows_per_prompt": n, "top_k": k, "seed": s}`, answered by
`{"seconds": ..., "rows": [[id, ...], ...]}`.

Rows are sequences of one context: a prompt is computed once and shared by `llama_memory_seq_cp`; a row that ends makes
room for the next at once. Every row has llama.cpp's own samplers: top-k, temperature, draw.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import llama_cpp as ll


@dataclass(frozen=True)
class Configuration:
    """How texts are written."""

    model: str
    """The GGUF file."""
    slots: int
    """Rows side by side."""
    unified: bool
    """`kv_unified`: one buffer of keys and values for all sequences, or one for each."""
    n_prompts: int
    """At most so many distinct prompts in a request."""
    prompt_tokens: int
    """Of the longest prompt."""
    max_new_tokens: int
    temperature: float
    stop: list[int]


@dataclass
class Row:
    """One text being written."""

    index: int
    prompt: int
    sampler: Any
    tokens: list[int]
    sequence: int = -1


class Writer:
    """A context with room for the prompts and the rows."""

    def __init__(self, settings: Configuration) -> None:
        self.settings = settings
        self.stop = frozenset(settings.stop)
        ll.llama_backend_init()
        self.model = ll.llama_model_load_from_file(settings.model.encode(), ll.llama_model_default_params())
        parameters = ll.llama_context_default_params()
        n_sequences = settings.n_prompts + settings.slots
        one = settings.prompt_tokens + settings.max_new_tokens + 1
        if settings.unified:
            cells = settings.n_prompts * settings.prompt_tokens + settings.slots * (settings.max_new_tokens + 1)
        else:
            cells = n_sequences * -(-one // 256) * 256
        parameters.n_ctx = -(-cells // 256) * 256
        parameters.n_seq_max = n_sequences
        parameters.kv_unified = settings.unified
        parameters.n_threads = parameters.n_threads_batch = os.cpu_count() or 1
        self.context = ll.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError("no context")
        self.memory = ll.llama_get_memory(self.context)
        self.capacity = max(int(parameters.n_batch), settings.slots)
        self.batch = ll.llama_batch_init(self.capacity, 0, 1)

    def write(self, prompts: list[list[int]], rows_per_prompt: int, top_k: int, seed: int) -> list[list[int]]:
        """Return the tokens of each row, the one that ended it last."""
        ll.llama_memory_clear(self.memory, True)
        rows = [
            Row(index, index // rows_per_prompt, self._sampler(top_k, seed * 100_003 + index), [])
            for index in range(len(prompts) * rows_per_prompt)
        ]
        for number, prompt in enumerate(prompts):
            self._decode([(token, at, number) for at, token in enumerate(prompt)], last_only=True)
            for row in rows[number * rows_per_prompt : (number + 1) * rows_per_prompt]:
                self._sample(row, -1)
        waiting = deque(row for row in rows if not self._ended(row))
        free = deque(range(self.settings.n_prompts, self.settings.n_prompts + self.settings.slots))
        going: list[Row] = []
        while waiting or going:
            while waiting and free:
                going.append(self._seated(waiting.popleft(), free.popleft()))
            at = [len(prompts[row.prompt]) + len(row.tokens) - 1 for row in going]
            self._decode([(row.tokens[-1], place, row.sequence) for row, place in zip(going, at, strict=True)])
            for index, row in enumerate(going):
                self._sample(row, index)
            for row in [row for row in going if self._ended(row)]:
                ll.llama_memory_seq_rm(self.memory, row.sequence, -1, -1)
                free.append(row.sequence)
            going = [row for row in going if not self._ended(row)]
        for row in rows:
            ll.llama_sampler_free(row.sampler)
        return [row.tokens for row in rows]

    def _seated(self, row: Row, sequence: int) -> Row:
        ll.llama_memory_seq_cp(self.memory, row.prompt, sequence, -1, -1)
        row.sequence = sequence
        return row

    def _ended(self, row: Row) -> bool:
        return row.tokens[-1] in self.stop or len(row.tokens) >= self.settings.max_new_tokens

    def _sample(self, row: Row, index: int) -> None:
        row.tokens.append(int(ll.llama_sampler_sample(row.sampler, self.context, index)))

    def _sampler(self, top_k: int, seed: int) -> Any:
        chain = ll.llama_sampler_chain_init(ll.llama_sampler_chain_default_params())
        ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_top_k(top_k))
        ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_temp(self.settings.temperature))
        ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_dist(seed % 2**32))
        return chain

    def _decode(self, entries: list[tuple[int, int, int]], *, last_only: bool = False) -> None:
        """Run (token, position, sequence) entries through the model."""
        if len(entries) > self.capacity:
            raise ValueError(f"{len(entries)} tokens do not fit in a batch of {self.capacity}")
        for index, (token, position, sequence) in enumerate(entries):
            self.batch.token[index] = token
            self.batch.pos[index] = position
            self.batch.n_seq_id[index] = 1
            self.batch.seq_id[index][0] = sequence
            self.batch.logits[index] = int(not last_only or index + 1 == len(entries))
        self.batch.n_tokens = len(entries)
        if (code := ll.llama_decode(self.context, self.batch)) != 0:
            raise RuntimeError(f"llama_decode returned {code}")


def main() -> None:
    """Answer requests until stdin ends."""
    # llama.cpp's own messages on stderr would drown the benchmark's.
    silent = ll.llama_log_callback(lambda _level, _text, _data: None)
    ll.llama_log_set(silent, ctypes.c_void_p(0))
    writer = Writer(Configuration(**json.loads(sys.stdin.readline())))
    print(json.dumps({"ready": True, "version": ll.__version__}), flush=True)
    for request_line in sys.stdin:
        request = json.loads(request_line)
        started = time.perf_counter()
        rows = writer.write(request["prompts"], request["rows_per_prompt"], request["top_k"], request["seed"])
        print(json.dumps({"seconds": time.perf_counter() - started, "rows": rows}), flush=True)


if __name__ == "__main__":
    main()
