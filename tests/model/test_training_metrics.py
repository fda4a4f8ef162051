import pytest

from tunix_eval.errors import ArtifactError
from tunix_eval.model.metrics import MetricLine, append_metrics, read_metrics, rewrite_metrics


def line(step):
    return MetricLine(
        step=step,
        epoch=step / 3,
        loss=1 / step,
        learning_rate=1e-3,
        grad_norm=0.5,
        tokens=7,
        tokens_per_second=9.5,
        wall_seconds=0.25 * step,
        device="cpu:0",
    )


def test_lines_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    append_metrics(path, [line(1), line(2)])
    append_metrics(path, [line(3)])
    assert read_metrics(path) == [line(1), line(2), line(3)]
    rewrite_metrics(path, [line(1)])
    assert read_metrics(path) == [line(1)]


@pytest.mark.parametrize("tail", [b'{"step":3,"epo', b"not json\n", b"{}\n", b"\xff\xfe\n"])
def test_a_torn_line_and_what_follows_it_do_not_count(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    append_metrics(path, [line(1), line(2)])
    with path.open("ab") as file:
        file.write(tail)
    append_metrics(path, [line(3)])
    assert read_metrics(path) == [line(1), line(2)]


def test_a_gap_ends_what_counts(tmp_path):
    append_metrics(tmp_path / "metrics.jsonl", [line(1), line(3)])
    assert read_metrics(tmp_path / "metrics.jsonl") == [line(1)]
    assert read_metrics(tmp_path / "nowhere.jsonl") == []


def test_a_disk_that_refuses_is_one_error_with_the_path(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for write in (append_metrics, rewrite_metrics):
        with pytest.raises(ArtifactError, match=r"file/metrics\.jsonl: cannot be written: "):
            write(tmp_path / "file" / "metrics.jsonl", [line(1)])
