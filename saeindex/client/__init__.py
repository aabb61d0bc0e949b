"""The client of a saeindex server: the methods of an index, with the same results, at a distance."""

from saeindex.client.client import AsyncClient, AsyncRemoteIndex, Client
from saeindex.client.jobs import Job, Jobs
from saeindex.client.remote_index import RemoteIndex

__all__ = ["AsyncClient", "AsyncRemoteIndex", "Client", "Job", "Jobs", "RemoteIndex"]
