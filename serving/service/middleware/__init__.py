"""What every request passes: connections and headers, host and origin, keys and rates, traces and logs."""
