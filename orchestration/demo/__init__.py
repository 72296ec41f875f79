"""`groundswell demo`: the whole job on this machine, with messages and a crisis."""
