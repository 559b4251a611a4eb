"""What tests share: recordings, damage, servers, a browser, stand-ins, and the real command."""
