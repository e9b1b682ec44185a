"""Tables of cases for every resource type: a system before, a layer, the system after."""
