"""What readers see, folded from the log. Each can be thrown away and rebuilt beside the live one."""
