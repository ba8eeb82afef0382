from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.support.site import Site, label, model, prediction

from ml_exporter.cli import main

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a profile."""
    found = Site(tmp_path)
    profile = json.loads((GOLDEN / "profile.json").read_text(encoding="utf-8"))
    profile["model"] = "flight-delay"
    (tmp_path / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    found.models = [model(profile="profile.json")]
    found.predict(prediction(1, 0))
    found.label(label(1, 0))
    return found


def checked(site: Site, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], list[str]]:
    """Return the exit code, and the lines on stdout and stderr."""
    site.config_path.write_text(
        json.dumps({"exporter": site.exporter, "models": site.models}), encoding="utf-8"
    )
    code = main(["check", "--config.file", str(site.config_path)])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err.splitlines()


def test_a_good_configuration_is_fine_and_counted(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = checked(site, capsys)
    assert (code, err) == (0, [])
    rows = {
        cells[2]: int(cells[3])
        for line in out
        if len(cells := [cell.strip() for cell in line.split("│")]) == 5
    }
    assert rows["ml_quality (and bounds)"] == 3 * 13 * 3
    assert rows["targets, limits and infos"] > 0
    # Two methods for each of the profile's six columns.
    assert rows["ml_drift"] == 12
    assert "ml_drift_noise" not in rows
    assert out[-1] == f"{site.config_path}: fine; {sum(rows.values())} of 20000 series"


def test_limits_and_exported_bins_make_series(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    plain = checked(site, capsys)[1][-1]
    site.models[0] |= {"drift": {"psi": {"max": 0.2}}, "export_bins": ["amount"]}
    more = checked(site, capsys)[1]
    assert any("ml_drift_noise" in line and " 6 " in line for line in more)
    assert int(more[-1].split()[2]) > int(plain.split()[2]) + 6


def test_more_series_than_allowed_are_noted(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.exporter["series_limit"] = 50
    code, out, _ = checked(site, capsys)
    assert code == 0
    assert any("are more than exporter.series_limit: whole columns will be left out" in line for line in out)


def test_the_limit_holds_whatever_the_configuration_says(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.models[0] |= {"drift": {"psi": {"max": 0.2}}, "health": {"missing": {"max": 0.1}}}

    def served(limit: int) -> list[str]:
        site.exporter["series_limit"] = limit
        site.config()
        assert main(["evaluate", "--config.file", str(site.config_path)]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]

    whole = served(20_000)
    assert {"ml_drift_limit", "ml_input_violation_limit"} <= {line.partition("{")[0] for line in whole}
    for limit in (len(whole), len(whole) - 1, len(whole) - 10):
        assert len(served(limit)) <= limit


def test_notes_say_what_is_missing_without_failing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.models.append(model("other", retrain={"url": "https://ci.example.com/train"}))
    code, out, err = checked(site, capsys)
    notes = "\n".join(line for line in out if line.startswith("note: "))
    assert (code, err) == (0, [])
    assert "models.other.predictions.path: no file matches" in notes
    assert "models.other.labels.path: no file matches" in notes
    assert "models.other.retrain.secret_file: none, so whoever is asked cannot tell by whom" in notes
    assert "models.other.profile: none, so there is no drift and no input health" in notes
    assert "flight-delay" not in notes


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"profile": "nowhere.json"}, "nowhere.json"),
        ({"profile": {"2": "profile.json", "default": "nowhere.json"}}, "nowhere.json"),
        (
            {"name": "renamed"},
            "models.renamed.profile.default: is the profile of flight-delay; "
            "build one with `ml_exporter profile --model renamed`",
        ),
        (
            {"export_bins": ["amout"]},
            "models.flight-delay: column amout is not in the profile; correct its name, or build the profile again",
        ),
        (
            {"drift": {"columns": {"amout": {"psi": {"max": 1}}}}},
            "models.flight-delay: column amout is not in",
        ),
        (
            {"health": {"columns": {"amout": {"missing": {"max": 1}}}}},
            "models.flight-delay: column amout is not in",
        ),
        (
            {"drift": {"ks": {"max": 0.1}, "l_infinity": {"max": 0.1}}},
            "models.flight-delay.drift: the profile does not know the noise of ks, l_infinity, so no alarm",
        ),
        (
            {"windows": ["7s"], "alert_window": "7s"},
            "config.yml:1: models[0].windows[0]: 7s is not a whole number",
        ),
    ],
)
def test_problems_are_named_with_their_remedy(
    site: Site, capsys: pytest.CaptureFixture[str], change: dict[str, Any], problem: str
) -> None:
    site.models[0] |= change
    code, out, err = checked(site, capsys)
    assert (code, out) == (1, [])
    assert len(err) == 1
    assert problem in err[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"exporter": {"state": "/proc/ml/state.duckdb"}},
            "exporter.state: nothing can be written below /proc (No such file or directory); name another place",
        ),
        (
            {"predictions": {"path": "/proc/ml/p.jsonl", "push": True}},
            "models.flight-delay.predictions.path: nothing can be written below /proc (",
        ),
        (
            {"labels": {"path": "profile.json/spool/l.jsonl", "push": True}},
            "models.flight-delay.labels.path: nothing can be written below {folder}/profile.json (Not a directory); ",
        ),
        (
            {"dead_letter": {"path": "profile.json/rejected.jsonl"}},
            "models.flight-delay.dead_letter.path: nothing can be written below {folder}/profile.json (",
        ),
        (
            {"retrain": {"url": "http://r", "headers": {"Authorization": "gone"}}},
            "models.flight-delay.retrain.headers.Authorization: {folder}/gone: cannot be read (No such file or ",
        ),
        (
            {"retrain": {"url": "http://r", "secret_file": "empty"}},
            "models.flight-delay.retrain.secret_file: {folder}/empty: is empty; write the secret into it",
        ),
    ],
)
def test_files_that_cannot_be_made_or_read_are_problems_with_their_key(
    site: Site, capsys: pytest.CaptureFixture[str], change: dict[str, Any], problem: str
) -> None:
    (site.folder / "empty").write_text("\n", encoding="utf-8")
    made = site.models[0]
    site.exporter |= change.pop("exporter", {})
    site.models[0] = {**made, **{key: {**made.get(key, {}), **own} for key, own in change.items()}}
    code, out, err = checked(site, capsys)
    assert (code, out) == (1, [])
    assert len(err) == 1
    assert err[0].startswith(f"{site.config_path}: {problem.format(folder=site.folder)}")


def test_folders_that_can_be_made_are_fine_and_are_not_made(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    (site.folder / "secret").write_text("abc\n", encoding="utf-8")
    site.exporter["state"] = "var/new/state.duckdb"
    site.models[0]["predictions"] |= {"path": "spool/p.jsonl", "push": True}
    site.models[0] |= {"retrain": {"url": "http://r", "secret_file": "secret"}}
    before = sorted(site.folder.rglob("*"))
    code, _, err = checked(site, capsys)
    assert (code, err) == (0, [])
    assert sorted({*site.folder.rglob("*")} - {site.config_path}) == before


def test_what_another_user_may_be_allowed_to_is_a_note(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("ml_exporter.check_files.tempfile.mkdtemp", refuse)
    monkeypatch.setattr("ml_exporter.check_files.os.geteuid", lambda: 1000)
    code, out, err = checked(site, capsys)
    assert (code, err) == (0, [])
    text = f"note: exporter.state: nothing can be written below {site.folder} (Permission denied)"
    assert any(line.startswith(text) for line in out)
    monkeypatch.setattr("ml_exporter.check_files.os.geteuid", lambda: 0)
    assert checked(site, capsys)[0] == 1


def test_all_problems_are_named_at_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    (site.folder / "state").mkdir()
    site.exporter["state"] = "state"
    site.models[0]["export_bins"] = ["one", "two"]
    site.models.append(model("other", profile="nowhere.json"))
    code, _, err = checked(site, capsys)
    assert code == 1
    assert len(err) == 4
    assert err[0].endswith("is a folder; name a file in it")


def test_a_column_may_be_in_the_profile_of_one_version_only(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = json.loads((site.folder / "profile.json").read_text(encoding="utf-8"))
    del profile["columns"]["amount"]
    (site.folder / "old.json").write_text(json.dumps(profile), encoding="utf-8")
    site.models[0] |= {"profile": {"default": "old.json", "2": "profile.json"}, "export_bins": ["amount"]}
    assert checked(site, capsys)[0] == 0


def test_a_missing_file_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config.file", str(tmp_path / "none.yml")]) == 1
    assert "cannot be read: No such file or directory" in capsys.readouterr().err


def test_columns_are_listed_with_what_they_were_taken_for_and_why(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = checked(site, capsys)
    cells = [[cell.strip() for cell in line.split("│")][2:5] for line in out if line.count("│") == 5]
    taken = {row[0]: row[1:] for row in cells if row[0]}
    assert taken["amount"] == ["numeric", "numbers (DOUBLE)"]
    assert taken["country"][0] == "categorical"
    assert taken["score"] == ["numeric", "the model's own"]


@pytest.mark.parametrize(
    ("column", "own", "key", "kind"),
    [
        ("country", {"min": 0}, "min", "categorical"),
        ("country", {"max": 0}, "max", "categorical"),
        ("amount", {"regex": "[0-9]+"}, "regex", "numeric"),
        ("amount", {"allowed": ["1", "two"]}, "allowed", "numeric"),
    ],
)
def test_what_a_kind_of_column_cannot_be_held_to_is_a_problem(
    site: Site, capsys: pytest.CaptureFixture[str], column: str, own: dict[str, object], key: str, kind: str
) -> None:
    name = site.models[0]["name"]
    site.models[0] |= {"columns": {column: own}}
    code, _, err = checked(site, capsys)
    assert code == 1
    assert err == [
        f"{site.config_path}: models.{name}.columns.{column}.{key}: has no meaning for a column taken for {kind}; "
        "remove it, or give the column another kind and build the profile again"
    ]


def test_what_columns_can_be_held_to_is_fine(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    held = {"country": {"allowed": ["de"], "regex": "[a-z]{2}"}, "amount": {"allowed": [1, 2.5], "min": 0}}
    site.models[0] |= {"columns": held, "health": {"limits": "auto"}}
    code, out, err = checked(site, capsys)
    assert (code, err) == (0, [])
    assert not [line for line in out if "without effect" in line]
