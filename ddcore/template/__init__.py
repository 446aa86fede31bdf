"""The distribution that `ddcore plugins new` writes."""
