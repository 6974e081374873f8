// Says who it runs as: the image has it with the set-user-ID bit, which must do nothing where privileges may not grow.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Printf("Effective uid: %d\n", os.Geteuid())
}
