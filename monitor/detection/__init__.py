"""From samples to twitches: pure, causal, the same result for any cutting of the stream."""
