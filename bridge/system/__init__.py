"""The differences between Linux, macOS and Windows: files, processes, ports, signals and terminals, a module for each.

All else in this project is written once for every system. What asks which system it is belongs here. Importing a module
of this folder loads only the standard library; psutil is loaded by the first question about a process.
"""
