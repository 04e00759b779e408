"""What other tools measured of a server: one module a tool, which reads the tool's own file into a `ToolRun`."""
