"""Buildbot workers on machines that loitsut's driver makes.

In a master's configuration: ``from buildbot.plugins import worker``, then ``worker.LoitsutLatentWorker(...)``.
"""
