"""What is published is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy.publish import publish

HEAD = "task,method,recipe,accuracy\n"


def benchmark(folder: Path, *rows: str, head: str = HEAD) -> Path:
    folder.mkdir()
    (folder / "accuracy.csv").write_text(head + "".join(f"{row}\n" for row in rows))
    (folder / "report.html").write_text(f"page of {folder.name}")
    return folder


def test_a_tasks_rows_and_page_take_the_place_of_its_older_ones(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    assert publish(benchmark(tmp_path / "a", "trec,setfit,default,0.5", "trec,tfidf,default,0.4"), results) == "trec"
    assert publish(benchmark(tmp_path / "b", "sst2,setfit,default,0.6"), results) == "sst2"
    assert publish(benchmark(tmp_path / "c", "trec,setfit,default,0.7"), results) == "trec"
    assert (results / "accuracy.csv").read_text() == HEAD + "sst2,setfit,default,0.6\ntrec,setfit,default,0.7\n"
    assert (results / "trec.html").read_text() == "page of c"
    assert (results / "sst2.html").read_text() == "page of b"


def test_another_recipes_rows_and_page_stand_beside_them(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    changed = "trec,lora_synthetic,default+x=1,0.4"
    publish(benchmark(tmp_path / "a", "trec,lora_synthetic,default,0.5", changed), results)
    assert publish(benchmark(tmp_path / "b", "trec,lora_synthetic,accurate,0.6"), results) == "trec-accurate"
    publish(benchmark(tmp_path / "c", "trec,lora_synthetic,default,0.7"), results)
    publish(benchmark(tmp_path / "d", "trec,lora_synthetic,accurate,0.8"), results)
    rows = "trec,lora_synthetic,default,0.7\ntrec,lora_synthetic,accurate,0.8\n"
    assert (results / "accuracy.csv").read_text() == HEAD + rows
    assert (results / "trec.html").read_text() == "page of c"
    assert (results / "trec-accurate.html").read_text() == "page of d"


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    results = benchmark(tmp_path / "results", "trec,setfit,default,0.5")
    before = (results / "accuracy.csv").read_text()
    with pytest.raises(SystemExit, match="2 tasks"):
        publish(benchmark(tmp_path / "a", "trec,setfit,default,0.5", "sst2,setfit,default,0.5"), results)
    with pytest.raises(SystemExit, match="other columns"):
        publish(benchmark(tmp_path / "b", "trec,default,0.5", head="task,recipe,accuracy\n"), results)
    (benchmark(tmp_path / "c", "trec,setfit,default,0.9") / "report.html").unlink()
    with pytest.raises(SystemExit, match="no report"):
        publish(tmp_path / "c", results)
    assert (results / "accuracy.csv").read_text() == before
    assert not (results / "trec.html").exists()
