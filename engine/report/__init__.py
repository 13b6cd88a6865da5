"""From events to what a person reads: Parquet tables, charts and one self-contained page."""
