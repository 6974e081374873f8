// Package conformance names what is built from Kubernetes' sources for its conformance suite: the suite itself
// and the program of the image that most of its tests use.
package conformance

import (
	_ "k8s.io/kubernetes/test/e2e"
)
