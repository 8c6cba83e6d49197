"""What a tenant may do with templates of its own, and the test of any template."""
