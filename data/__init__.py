"""Text arrives, is labeled, is checked. Imports no sibling folder, and is cheap to import: no torch, no Great Expectations."""
