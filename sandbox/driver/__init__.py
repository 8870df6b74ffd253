"""Drives the real Pulumi engine for a sandbox stack, with the program running in this process.

`python -m sandbox.driver VERB` performs one engine operation and ends: the SDK keeps state in
module globals, so a process runs the program for one operation only (`up`: its preview, then the update).

- `workspace`, `stackfile`: folders, environment, generated secrets, the working copy of the stack file
- `engine`: one CLI process, its language host (us), its event stream, its signals
- `events`, `render`: what the engine reports, as plain values and as lines for people
- `checkpoint`, `leftovers`, `recovery`, `lookup`: what an interrupted run left behind, and putting it right
"""
