"""What netdsl remembers: one SQLite file a stack."""
