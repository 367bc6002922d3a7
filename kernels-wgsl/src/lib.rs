//! assay-kernels
