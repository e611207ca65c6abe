module modelyard.dev/pod

go 1.26.0
