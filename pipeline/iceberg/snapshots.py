"""Parts of a snapshot, in Iceberg's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.typedef import Record

from pipeline.iceberg.live import CatalogFile
from pipeline.storage.data_files import Spans, bound


def described_file(uri: str, hour: int | None, rows: int, size: int, spans: Spans, ids: Mapping[str, int]) -> DataFile:
    """What manifests say of a Parquet file; `ids` are the table's column ids by name."""
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=uri,
        file_format=FileFormat.PARQUET,
        partition=Record() if hour is None else Record(hour),
        record_count=rows,
        file_size_in_bytes=size,
        column_sizes=None,
        value_counts=None,
        null_value_counts=None,
        nan_value_counts=None,
        lower_bounds={ids[name]: bound(low) for name, (low, _) in spans.items()} or None,
        upper_bounds={ids[name]: bound(high) for name, (_, high) in spans.items()} or None,
        key_metadata=None,
        split_offsets=None,
        equality_ids=None,
        sort_order_id=None,
    )


def summary_of(added: Sequence[CatalogFile], dead: Sequence[CatalogFile], files: int, rows: int) -> Summary:
    """Of a snapshot that follows one of so many files and rows."""
    came, gone = sum(file.rows for file in added), sum(file.rows for file in dead)
    return Summary(
        Operation.OVERWRITE if dead else Operation.APPEND,
        **{
            "added-data-files": str(len(added)),
            "added-records": str(came),
            "deleted-data-files": str(len(dead)),
            "deleted-records": str(gone),
            "total-data-files": str(files + len(added) - len(dead)),
            "total-records": str(rows + came - gone),
            "total-delete-files": "0",
        },
    )


def main_branch(snapshot_id: int) -> SnapshotRef:
    """The branch main at a snapshot."""
    return SnapshotRef(
        snapshot_id=snapshot_id,
        snapshot_ref_type=SnapshotRefType.BRANCH,
        min_snapshots_to_keep=None,
        max_snapshot_age_ms=None,
        max_ref_age_ms=None,
    )
