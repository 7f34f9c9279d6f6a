"""Installs DuckDB's extension `delta` where DuckDB looks for it (~/.duckdb), from its Python package: no download."""

import importlib.resources

import duckdb


def extension() -> str | None:
    """The file of the extension, if the package is installed."""
    try:
        files = importlib.resources.files("duckdb_extension_delta")
    except ModuleNotFoundError:
        return None
    return next((str(file) for file in files.joinpath("extensions", f"v{duckdb.__version__}").iterdir()), None)


def load(connection: duckdb.DuckDBPyConnection) -> None:
    """Loads it from the package. Without the package, DuckDB fetches it at the first `delta_scan`."""
    if path := extension():
        connection.load_extension(path)


if __name__ == "__main__":
    assert (path := extension()), "duckdb-extension-delta is not installed"
    with duckdb.connect() as connection:
        connection.install_extension(path)
