"""The configuration: good files load, bad files are refused with their exact text."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import yaml

from ml_exporter.config import Config, ConfigError, Window, load, parse_duration
from ml_exporter.config_model import Model
from ml_exporter.config_types import parse_size

FOLDER = Path(__file__).parent / "config"
BAD = sorted((FOLDER / "bad").glob("*.yml"))
SMALL = "models: [{name: m, predictions: {path: p.jsonl, fields: {score: s}}}]\n"


def load_text(folder: Path, text: str) -> Config:
    path = folder / "config.yml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def one_model(folder: Path, lines: str) -> Model:
    head = "models:\n- name: m\n  predictions: {path: p.jsonl, fields: {score: s, label: l}}\n"
    (model,) = load_text(folder, head + lines).models
    return model


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_file_is_refused_with_its_exact_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(ConfigError) as caught:
        load(Path(path.name))
    assert f"{caught.value}\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_problem_names_file_line_key_and_remedy(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path)
    last = path.read_bytes().count(b"\n")
    for problem in caught.value.problems:
        assert problem.file == str(path)
        assert 1 <= problem.line <= last
        assert problem.key
        assert problem.message
        assert problem.remedy


def test_bad_files_are_many() -> None:
    assert len(BAD) >= 30


def test_complete_file_loads() -> None:
    config = load(FOLDER / "good" / "complete.yml")
    flights, other = config.models
    base = (FOLDER / "good").absolute()
    assert config.exporter.state == base / "var/state.duckdb"
    assert (config.exporter.evaluation_interval, config.exporter.birth_hold) == (15.0, 90.0)
    assert (config.exporter.pending_limit, config.exporter.line_limit) == (50_000_000, 1_048_576)
    assert config.host.processes[0].match == "gunicorn.*serve"
    assert flights.profile_path("1") == flights.profile_path("2") == base / "profiles/v1.json"
    assert flights.predictions.path == f"{base}/logs/predictions/*.jsonl"
    assert (flights.shadow, flights.champion, flights.positive) == (("2",), "1", "true")
    assert flights.windows == (Window("1h", 3600.0), Window("1d", 86400.0), Window("7d", 604800.0))
    assert flights.alert_window == Window("1d", 86400.0)
    assert flights.quality["roc_auc"].min == 0.65
    assert flights.labels is not None
    assert (flights.labels.maturity, flights.labels.wait) == (86400.0, 30 * 86400.0)
    assert flights.columns["carrier"].allowed == ("UA", "NO", "9E")
    assert other.predictions.fields.features == ("a", "b.c")


def test_all_that_can_have_a_default_has_one(tmp_path: Path) -> None:
    config = load_text(tmp_path, SMALL)
    (model,) = config.models
    assert config.exporter.state is None
    assert config.host.enabled
    assert [window.name for window in model.windows] == ["1h", "1d", "7d"]
    assert model.alert_window.name == "1d"
    assert (model.maturity, model.label_field, model.profile_path("1")) == (0.0, None, None)
    assert (model.version_limit, model.segment_limit, model.class_limit) == (5, 20, 20)
    assert model.prediction_age_limit == 3600.0


def test_limits_of_a_column_override_the_common_ones(tmp_path: Path) -> None:
    model = one_model(
        tmp_path,
        "  drift: {psi: {max: 0.2}, columns: {a: {psi: {max: 0}, wasserstein: {max: 1}}}}\n"
        "  health: {missing: {max: 0.1}, columns: {a: {missing: {max: 0}}}}\n",
    )
    limits = [model.drift_limit(column, "psi") for column in ("a", "b")]
    assert limits == [0.0, 0.2]
    assert [model.drift_limit(column, "wasserstein") for column in ("a", "b")] == [1.0, None]
    assert [model.health_limit(column, "missing") for column in ("a", "b")] == [0.0, 0.1]
    assert model.health_limit("a", "unseen") is None
    assert model.drift_limit("a", "columns") is None


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    model = one_model(
        tmp_path, "  champion: 1.10\n  shadow: [2, 007, no, 2013-01-01, True]\n  positive: True\n"
    )
    assert model.champion == "1.10"
    assert model.shadow == ("2", "007", "no", "2013-01-01", "true")
    assert model.positive == "true"


def test_profiles_by_version(tmp_path: Path) -> None:
    model = one_model(tmp_path, "  profile: {default: a.json, 2: /b.json}\n")
    assert model.profile_path("1") == tmp_path / "a.json"
    assert model.profile_path("2") == Path("/b.json")


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("windows: [1m, 5m, 15m]", "15m"),
        ("windows: [1h, 24h, 7d]", "24h"),
        ("windows: [1h, 24h]\n  alert_window: 1d", "24h"),
        ("windows: [1h, 1d]\n  alert_window: 60m", "1h"),
    ],
)
def test_alert_window_goes_by_its_length(tmp_path: Path, lines: str, name: str) -> None:
    assert one_model(tmp_path, f"  {lines}\n").alert_window.name == name


def test_merge_keys_and_aliases_are_followed(tmp_path: Path) -> None:
    config = load_text(
        tmp_path,
        "models:\n- &first\n  name: a\n  team: red\n  predictions: {path: p, fields: {score: s}}\n"
        "- <<: *first\n  name: b\n",
    )
    assert [(model.name, model.team) for model in config.models] == [("a", "red"), ("b", "red")]


def test_keys_without_a_value_count_as_left_out(tmp_path: Path) -> None:
    config = load_text(tmp_path, "exporter:\nhost:\n" + SMALL)
    assert config.exporter.evaluation_interval == 15.0


def test_problem_in_merged_keys_points_to_where_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            tmp_path,
            "models:\n- &first\n  name: a\n  team: [x]\n  predictions: {path: p, fields: {score: s}}\n"
            "- <<: *first\n  name: b\n",
        )
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (4, "models[0].team"),
        (4, "models[1].team"),
    ]


def test_folder_of_the_file_is_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "a[b]*"
    folder.mkdir()
    (model,) = load_text(folder, SMALL).models
    assert model.predictions.path == f"{tmp_path}/a[[]b][*]/p.jsonl"


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yml", os.strerror(2)), (tmp_path, os.strerror(21))):
        with pytest.raises(ConfigError, match=f"^{path}:1: .top level.: cannot be read: {reason}; "):
            load(path)


def test_aliases_do_not_blow_up(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="has more than 50000 values; use fewer aliases"):
        load_text(tmp_path, "\n".join(lines) + "\n")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is nested too deeply"):
        load_text(tmp_path, f"models: {'[' * 5000}{']' * 5000}\n")


def test_objects_cannot_be_changed() -> None:
    config = load(FOLDER / "good" / "complete.yml")
    with pytest.raises(ValueError, match="frozen"):
        config.models[0].name = "x"
    with pytest.raises(TypeError):
        config.models[0].quality["f1"] = None  # type: ignore[index]  # what is tested
    assert hash(config.models) == hash(load(FOLDER / "good" / "complete.yml").models)


def test_masked_yaml_has_no_secret_and_loads_again(tmp_path: Path) -> None:
    config = load(FOLDER / "good" / "complete.yml")
    text = config.masked_yaml()
    for secret in ("user:pw", "abc", "start", "secrets/authorization"):
        assert secret not in text
    assert "user:pw" not in repr(config)
    shown = yaml.safe_load(text)["models"][0]
    assert shown["retrain"]["url"] == "https://ci.example.com/<secret>"
    assert shown["retrain"]["headers"] == {"Authorization": "<secret>"}
    assert shown["retrain"]["secret_file"] == "secrets/hmac"
    assert load_text(tmp_path, config.masked_yaml()).models[0].windows == config.models[0].windows


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/XXXX", "https://hooks.example.com/<secret>"),
        ("https://user:p@ss@host:8443/start", "https://host:8443/<secret>"),
        ("https://user@host", "https://host/<secret>"),
        ("https://host#access_token=abc", "https://host/<secret>"),
        ("https://host?to=a@b", "https://host/<secret>"),
        ("https://user:p/ss@host", "https://user/<secret>"),
        ("http://[::1]:8080/x", "http://[::1]:8080/<secret>"),
        ("https://host:8443/", "https://host:8443/"),
        ("https://host", "https://host"),
    ],
)
def test_of_a_url_scheme_host_and_port_are_shown(tmp_path: Path, url: str, shown: str) -> None:
    text = f"models: [{{name: a, predictions: {{path: p.jsonl, fields: {{score: s}}}}, retrain: {{url: '{url}'}}}}]"
    found = yaml.safe_load(load_text(tmp_path, text).masked_yaml())
    assert found["models"][0]["retrain"]["url"] == shown


@pytest.mark.parametrize(
    ("given", "age"), [("", None), ("max_age: 2d", 2), ("retrain: {url: http://r, max_age: 3d}", 3)]
)
def test_the_shorter_age_is_the_one_to_retrain_at(given: str, age: float | None, tmp_path: Path) -> None:
    assert one_model(tmp_path, f"  {given}\n").oldest == (age and age * 86_400)
    both = "  max_age: 2d\n  retrain: {url: http://r, max_age: 3d}\n"
    assert one_model(tmp_path, both).oldest == 2 * 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("500ms", 0.5),
        ("15s", 15.0),
        ("1h30m", 5400.0),
        ("1d", 86400.0),
        ("1w2d", 777600.0),
        ("1y", 31536000.0),
        ("1y2w3d4h5m6s7ms", 33019506.007),
    ],
)
def test_durations_as_in_prometheus(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["", "15", "1h ", "1m1h", "1.5h", "-1s", "h", "1s1s", "\u0661s", None, ("1s",)]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("10B", 10), ("1kB", 1000), ("1K", 1000), ("1MiB", 2**20), ("2 GiB", 2**31), ("0", 0)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def damaged(text: str, chance: random.Random) -> str:
    """Return the text after some of the accidents that befall files."""
    lines = text.splitlines(keepends=True)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(lines))
        cut = chance.randrange(len(lines[place]))
        splinter = chance.choice(
            ["\t", ": ", "- ", "[", "}", "*a ", "<<: ", "!!int ", "'", "\n", "1e999", "~"]
        )
        damages = (
            lines[place][:cut] + splinter + lines[place][cut:],
            "",
            chance.choice(lines) + lines[place],
            lines[place].partition(":")[0] + f": {splinter}\n",
        )
        lines[place] = chance.choice(damages) or "\n"
    return "".join(lines)


def test_damaged_files_load_or_are_refused_in_words(tmp_path: Path) -> None:
    text = (FOLDER / "good" / "complete.yml").read_text(encoding="utf-8")
    refused: list[ConfigError] = []
    for seed in range(100):
        try:
            load_text(tmp_path, damaged(text, random.Random(seed))).masked_yaml()
        except ConfigError as error:
            refused.append(error)
    assert 50 < len(refused) < 100
    assert all(len(str(error).splitlines()) == len(error.problems) for error in refused)
    assert not any("is not valid (" in str(error) for error in refused)
