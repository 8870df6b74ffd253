"""What runs inside a real node in place of what cannot: systemd, package managers, the driver.

These files are copied into the node and run there by its own /usr/bin/python3, standard library only.
"""
