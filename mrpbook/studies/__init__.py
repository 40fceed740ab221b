"""One draw of each chapter's experiment: functions from (seed, parameters) to a dict of arrays."""
