"""What a running job says of itself, and the port it says it on."""
