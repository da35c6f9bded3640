"""What strangers, other programs and failing machines do, and what dfqgen says then."""
