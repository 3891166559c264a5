"""Price lists that others keep. They are read when profiles are refreshed or checked, never while a call is made."""
