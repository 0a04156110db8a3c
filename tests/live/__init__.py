"""Black-box tests over HTTP against a running WebUI; see conftest.py for how to point them at one."""
