"""Documents: filings, articles and plain texts of up to 20 MiB, read as sections, sentences and windows, and classified.

`fetching` gets the page of a URL, `child` reads a file in a process of its own (`reading`, `pages`, `sections`, `sentences`,
`windows`), `parsed` starts it and holds its result, `report` makes one result of the predictions.
"""
