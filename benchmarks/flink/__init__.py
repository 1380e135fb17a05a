"""What `benchmarks.bench_flink` measures of a job on Flink, part by part."""
