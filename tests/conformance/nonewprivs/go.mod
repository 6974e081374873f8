module ferroflow/tests/conformance/nonewprivs

go 1.24.0
