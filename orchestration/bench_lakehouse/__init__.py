"""The lakehouse measured: Gold beside its peers, how old rows are when they can be read, how many files an hour leaves."""
