"""The whole loop on one machine: stream, job, queue, actuator, cache, and a product whose tenant misbehaves."""
