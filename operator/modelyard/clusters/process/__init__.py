"""A cluster on this machine: Jobs and Deployments as processes, volumes as folders, Services as local ports."""
