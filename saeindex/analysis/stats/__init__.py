"""Statistics that the analyses share: tables, strata, design, permutation, evidence."""
