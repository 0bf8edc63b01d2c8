"""Laws for handlers of batches: they hold whatever a function is for. `table` has all of them."""
