from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from handful.errors import ModelError
from handful.llm.gguf_cache import cache_folder, dequantised
from handful.llm.loading import choose_device, load_model, load_tokenizer
from handful.llm.sources import holds, locate, model_label, pinned
from tests.tiny import make_tiny_model


@pytest.fixture
def fake_gguf(tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.gguf` file whose de-quantised form is the tiny model: transformers' own reader is the edge that is faked."""
    monkeypatch.setenv("HANDFUL_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF weights of the tiny model")
    tokenizers, models = AutoTokenizer, AutoModelForCausalLM

    class FakeTokenizer:
        @staticmethod
        def from_pretrained(source: Any, **options: Any) -> Any:
            return tokenizers.from_pretrained(tiny_model_dir if options.pop("gguf_file", None) else source, **options)

    class FakeModel:
        @staticmethod
        def from_pretrained(source: Any, **options: Any) -> Any:
            if options.pop("gguf_file", None):
                MADE.append(str(source))
                model = models.from_pretrained(tiny_model_dir, **options)
                model.config.quantization_config = {"quant_method": "gguf"}
                return model
            return models.from_pretrained(source, **options)

    MADE.clear()
    monkeypatch.setattr("gguf.GGUFReader", lambda _: SimpleNamespace(tensors=[]))
    monkeypatch.setattr("handful.llm.gguf_cache.AutoTokenizer", FakeTokenizer)
    monkeypatch.setattr("handful.llm.gguf_cache.AutoModelForCausalLM", FakeModel)
    return file


MADE: list[str] = []


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_directory_is_loaded_as_it_is(tiny_model_dir: Path) -> None:
    loaded = load_model(str(tiny_model_dir), device="cpu")
    assert loaded.fingerprint == locate(str(tiny_model_dir)).fingerprint != ""
    assert (loaded.name, loaded.device.type, loaded.dtype) == (str(tiny_model_dir), "cpu", torch.float32)
    assert not loaded.model.training
    assert loaded.context_length == 2048
    assert load_model(str(tiny_model_dir), device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16
    assert load_tokenizer(str(tiny_model_dir)).get_vocab() == loaded.tokenizer.get_vocab()


def test_fingerprints_follow_the_weights_and_the_tokenizer(tiny_model_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model_dir, tmp_path / "copy")
    first = locate(str(tiny_model_dir)).fingerprint
    assert locate(str(copy)).fingerprint == first
    other = make_tiny_model(tmp_path / "other", seed=1)
    assert locate(str(other)).fingerprint != first
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert locate(str(copy)).fingerprint != first


def test_the_end_of_large_weights_counts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    tensor = torch.zeros(900_000)
    save_file({"a": tensor}, tmp_path / "model.safetensors")
    first = locate(str(tmp_path)).fingerprint
    tensor[-1] = 1
    save_file({"a": tensor}, tmp_path / "model.safetensors")
    assert locate(str(tmp_path)).fingerprint != first


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "tokenizer.model", "vocab.txt", "merges.txt"])
def test_what_says_how_texts_are_cut_counts(tiny_model_dir: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(tiny_model_dir, tmp_path / "copy")
    (copy / name).write_text("{}")
    first = locate(str(copy)).fingerprint
    (copy / "README.md").write_text("more")
    assert locate(str(copy)).fingerprint == first
    (copy / name).write_text('{"other": 1}')
    assert locate(str(copy)).fingerprint != first


def test_the_middle_of_large_weights_counts(tmp_path: Path) -> None:
    """A merged LoRA may leave the first and the last tensors of a file as they were."""
    (tmp_path / "config.json").write_text("{}")
    tensors = {name: torch.zeros(300_000) for name in "abcd"}
    save_file(tensors, tmp_path / "model.safetensors")
    first = locate(str(tmp_path)).fingerprint
    tensors["c"] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    assert locate(str(tmp_path)).fingerprint != first
    (tmp_path / "model.safetensors").write_bytes((b"\xff" * 8 + b"[" * 100) + b"\0" * 3_000_000)
    assert locate(str(tmp_path)).fingerprint  # damage is for loading to tell


def test_every_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fake GPUs: there is none here."""
    chosen: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1) == chosen[0]
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert choose_device("cuda").index == 0
    assert choose_device("cpu") == torch.device("cpu")


def test_a_gguf_with_stretched_positions_is_refused(fake_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gguf.GGUFReader", lambda _: SimpleNamespace(tensors=[SimpleNamespace(name="rope_freqs.weight")])
    )
    with pytest.raises(ModelError, match="scales its rotary positions"):
        load_model(str(fake_gguf), device="cpu")
    assert MADE == []


def test_other_weights_than_expected_are_refused(tiny_model_dir: Path) -> None:
    found = locate(str(tiny_model_dir)).fingerprint
    assert load_model(str(tiny_model_dir), device="cpu", fingerprint=found).fingerprint == found
    with pytest.raises(ModelError, match=rf"fingerprint {found}, expected dir-0"):
        load_model(str(tiny_model_dir), fingerprint="dir-0")


def test_a_local_copy_of_a_hub_commit_is_known_by_where_it_came_from(tiny_model_dir: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef"
    expected = f"hub-org/name@{commit}"
    snapshot = shutil.copytree(tiny_model_dir, tmp_path / "snapshots" / commit)
    assert holds(locate(str(snapshot)), expected)
    copy = shutil.copytree(tiny_model_dir, tmp_path / "copy")
    assert not holds(locate(str(copy)), expected)
    notes = copy / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)
    (notes / "config.json.metadata").write_text(f"{commit}\netag\n0.0\n")
    assert holds(locate(str(copy)), expected)
    assert not holds(locate(str(copy)), "hub-org/name@fedcba")
    assert load_model(str(copy), device="cpu", fingerprint=expected).name == str(copy)


def test_a_hub_model_that_moved_on_is_asked_for_by_its_commit() -> None:
    assert pinned("org/name", "hub-org/name@0123") == "org/name@0123"
    assert pinned("./m.gguf", "gguf-0123") == "./m.gguf"


def test_a_models_name_says_nothing_of_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"")
    assert model_label(str(tmp_path / "m.gguf")) == "m.gguf"
    assert model_label("org/name@v1") == "org/name@v1"
    assert model_label("smollm2-135m") == "smollm2-135m"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("./nowhere", "no such directory: './nowhere'"),
        ("/nowhere/at/all", "no such directory"),
        ("~/nowhere", "no such directory"),
        ("nowhere.gguf", "no such file: 'nowhere.gguf'"),
        ("some-org/no-such-model", "cannot load the model 'some-org/no-such-model'"),
        ("some-org/no-such-model@v1", "cannot load the model"),
        ("not a name", "no such directory: 'not a name'"),
    ],
)
def test_unknown_models_say_what_to_give(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        load_model(spec)
    assert error.value.mend
    with pytest.raises(ModelError, match=message):
        load_tokenizer(spec)


def test_a_directory_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        load_model(str(tmp_path))


def test_a_directory_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_with_code_of_its_own_is_refused_without_a_question(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Not passed, `trust_remote_code` is asked for on standard input, where `predict -` reads texts."""
    copy = shutil.copytree(tiny_model_dir, tmp_path / "copy")
    marker = tmp_path / "ran"
    (copy / "own.py").write_text(f"open({str(marker)!r}, 'w')\nclass Own: pass\n")
    settings = json.loads((copy / file).read_text())
    classes = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own", "AutoTokenizer": ["own.Own", None]}
    settings |= {"auto_map": classes, "model_type": "own", "tokenizer_class": "Own"}
    (copy / file).write_text(json.dumps(settings))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    with suppress(ModelError):
        load_model(str(copy), device="cpu")
    assert not marker.exists()


def test_damaged_safetensors_are_a_model_error(tiny_model_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model_dir, tmp_path / "copy")
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(str(copy))


def test_a_missing_package_and_device_are_named(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handful.llm.sources._PACKAGED_MODULE", "no_such_module_at_all")
    with pytest.raises(ModelError, match="the packaged model 'smollm2-135m' is not installed"):
        load_model()
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="device 'cuda' is not available"):
            load_model(str(tiny_model_dir), device="cuda")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    with pytest.raises(ModelError, match="4-bit loading needs bitsandbytes"):
        load_model(str(tiny_model_dir), load_in_4bit=True, device="cpu")


@pytest.mark.parametrize(
    ("window", "expected"), [(None, 2048), (128, 128), (4096, 2048)], ids=["none", "shorter", "longer"]
)
def test_a_sliding_window_bounds_the_context(
    tiny_model_dir: Path, tmp_path: Path, window: int | None, expected: int
) -> None:
    copy = shutil.copytree(tiny_model_dir, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "sliding_window": window}))
    assert load_model(str(copy), device="cpu").context_length == expected


def test_gguf_is_dequantised_once_into_the_cache(fake_gguf: Path, tmp_path: Path, tiny_model_dir: Path) -> None:
    loaded = load_model(str(fake_gguf), device="cpu")
    assert same(weights(loaded.model), weights(load_model(str(tiny_model_dir), device="cpu").model))
    assert loaded.fingerprint.startswith("gguf-")
    (entry,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    assert entry.name.startswith("model-")
    assert {path.name for path in entry.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "sums.json",
    }
    load_model(str(fake_gguf), device="cpu")
    assert locate(str(fake_gguf)).fingerprint == loaded.fingerprint
    assert len(MADE) == 1
    fake_gguf.write_bytes(b"other weights")
    assert load_model(str(fake_gguf), device="cpu").fingerprint != loaded.fingerprint
    assert len(MADE) == 2


def flip(entry: Path) -> None:
    data = bytearray((entry / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (entry / "model.safetensors").write_bytes(data)


def truncate(entry: Path) -> None:
    data = (entry / "model.safetensors").read_bytes()
    (entry / "model.safetensors").write_bytes(data[:100])


def half_written(entry: Path) -> None:
    (entry / "sums.json").unlink()
    (entry / "model.safetensors").unlink()


DAMAGES: list[Callable[[Path], object]] = [
    flip,
    truncate,
    half_written,
    lambda entry: (entry / "tokenizer.json").unlink(),
    lambda entry: (entry / "sums.json").write_text("{"),
    lambda entry: (entry / "sums.json").write_text("{}"),
    lambda entry: (entry / "sums.json").write_text("[]"),
]


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_a_damaged_cache_entry_is_made_again(fake_gguf: Path, tmp_path: Path, number: int) -> None:
    good = weights(load_model(str(fake_gguf), device="cpu").model)  # copies: the file itself is mapped into memory
    (entry,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    DAMAGES[number](entry)
    assert same(weights(load_model(str(fake_gguf), device="cpu").model), good)
    assert len(MADE) == 2
    load_model(str(fake_gguf), device="cpu")
    assert len(MADE) == 2
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [entry]


def test_an_unreadable_gguf_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDFUL_CACHE", str(tmp_path / "cache"))
    for content in (b"", b"not a gguf at all", b"GGUF\x03\x00\x00\x00"):
        (tmp_path / "model.gguf").write_bytes(content)
        with pytest.raises(ModelError, match="cannot load the model"):
            load_model(str(tmp_path / "model.gguf"))
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_says_what_to_free(fake_gguf: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(
        ModelError, match=rf"cannot keep the de-quantised model in .*cache: {os.strerror(code)}"
    ) as error:
        load_model(str(fake_gguf))
    assert "HANDFUL_CACHE" in error.value.mend
    monkeypatch.undo()


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HANDFUL_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("HANDFUL_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "handful"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "handful"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "handful"


def test_a_whole_entry_needs_no_lock(fake_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dequantised(fake_gguf)

    def locked(*_: object) -> None:
        raise AssertionError("a process that hangs with the lock would hang this one")

    monkeypatch.setattr("handful.llm.gguf_cache.FileLock", locked)
    monkeypatch.setattr("handful.llm.gguf_cache._verified", set())  # as in another process
    assert dequantised(fake_gguf) == entry
