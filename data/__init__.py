"""Text arrives, is labelled, is checked. Imports no sibling folder, and is cheap to import: no torch, no Great Expectations."""
