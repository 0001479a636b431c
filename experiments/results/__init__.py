"""From the lines of a run to tables, strata, intervals and tests."""
