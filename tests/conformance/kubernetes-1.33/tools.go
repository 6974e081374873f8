//go:build tools

// Programs that are built from this module beside the suite. Nothing compiles this file: it lets `go mod tidy` see them.
package conformance

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo"
	_ "k8s.io/kubernetes/test/images/agnhost"
)
