"""The painters: from the blocks of `logdrift.core.report.document` to each medium."""
