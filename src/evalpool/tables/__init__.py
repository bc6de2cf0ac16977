"""Tables of jobs: rows and columns, CSV files, data frames."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.tables._rows import table_of as table_of
    from evalpool.tables._tables import TableWriter as TableWriter
    from evalpool.tables._tables import read_table as read_table
    from evalpool.tables._tables import write_table as write_table

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "TableWriter": "_tables",
        "read_table": "_tables",
        "table_of": "_rows",
        "write_table": "_tables",
    },
)
