// Lead Neuroglancer to the state of this data set, unless the address holds one already.
if (!location.hash) {
  history.replaceState(null, "", "#!" + new URL("../../state.json" + location.search, location.href));
}
