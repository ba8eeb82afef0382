"""The formats of logs, and what reads each of them."""

from __future__ import annotations

from collections.abc import Mapping

from ml_exporter.sources.csv_reader import CsvReader
from ml_exporter.sources.json_reader import JsonReader
from ml_exporter.sources.parquet_reader import ParquetReader
from ml_exporter.sources.reader import Reader

READERS: Mapping[str, type[Reader]] = {"jsonl": JsonReader, "csv": CsvReader, "parquet": ParquetReader}
